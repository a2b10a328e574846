"""The words printed on documents, by language. A language is complete or absent: half-translated documents look forged.

To add one, add an entry with the same keys and placeholders (the test compares them). The language of a document is
the entry that was found, so its figures and dates are written the same way as its words.
"""

from __future__ import annotations

from core.format import locale_of

_EN = {
    "language": "en",
    "invoice": "Invoice", "refund": "Refund",
    "issued": "Issued", "period": "For the time", "span": "{first} to {last}",
    "corrects": "Corrects", "credits": "Refunds invoice", "currency": "Currency", "reason": "Reason",
    "from": "From", "to": "To", "tax_id": "Tax no. {id}",
    "what": "What", "quantity": "Qty", "each": "Each", "rate": "Tax", "amount": "Amount",
    "subtotal": "Subtotal", "tax": "Tax {rate} on {net}", "total": "Total", "credit": "Credit used",
    "due": "To pay", "paid": "Paid", "refunded": "Refunded", "void": "Not to be paid",
    "state_paid": "Paid", "state_open": "Not paid yet", "state_void": "Void",
    "refund_paid": "Refunded", "refund_open": "On its way", "refund_void": "Not taken",
    "card": "{brand} ending {last4}",
    "said_paid": "{amount} was paid on {day} with {method}.", "said_paid_day": "{amount} was paid on {day}.",
    "said_open": "{amount} is to be paid.", "said_void": "This invoice is void: nothing is to be paid.",
    "said_refund_paid": "{amount} was sent back on {day} to {method}.", "said_refund_paid_day": "{amount} was sent back on {day}.",
    "said_refund_open": "{amount} is on its way back.", "said_refund_void": "This refund was not made.",
    "settled": "Nothing is to be paid: credit covers it.",
    "questions": "Questions about this document: {email}",
    "fixed": "This document cannot change; a correction is a new one beside it.",
    "page": "Page {page} of {pages}", "test": "Test mode: no real money",
}
_DE = {
    "language": "de",
    "invoice": "Rechnung", "refund": "Erstattung",
    "issued": "Ausgestellt", "period": "Für die Zeit", "span": "{first} bis {last}",
    "corrects": "Berichtigt", "credits": "Erstattet Rechnung", "currency": "Währung", "reason": "Grund",
    "from": "Von", "to": "An", "tax_id": "Steuernr. {id}",
    "what": "Leistung", "quantity": "Menge", "each": "Einzeln", "rate": "Steuer", "amount": "Betrag",
    "subtotal": "Zwischensumme", "tax": "Steuer {rate} auf {net}", "total": "Gesamt", "credit": "Guthaben verrechnet",
    "due": "Zu zahlen", "paid": "Bezahlt", "refunded": "Erstattet", "void": "Nicht zu zahlen",
    "state_paid": "Bezahlt", "state_open": "Noch nicht bezahlt", "state_void": "Ungültig",
    "refund_paid": "Erstattet", "refund_open": "Unterwegs", "refund_void": "Nicht erfolgt",
    "card": "{brand} mit Endziffern {last4}",
    "said_paid": "{amount} wurden am {day} mit {method} bezahlt.", "said_paid_day": "{amount} wurden am {day} bezahlt.",
    "said_open": "{amount} sind zu zahlen.", "said_void": "Diese Rechnung ist ungültig: Es ist nichts zu zahlen.",
    "said_refund_paid": "{amount} wurden am {day} auf {method} zurückgezahlt.",
    "said_refund_paid_day": "{amount} wurden am {day} zurückgezahlt.",
    "said_refund_open": "{amount} sind auf dem Weg zurück.", "said_refund_void": "Diese Erstattung ist nicht erfolgt.",
    "settled": "Es ist nichts zu zahlen: Das Guthaben deckt den Betrag.",
    "questions": "Fragen zu diesem Dokument: {email}",
    "fixed": "Dieses Dokument ändert sich nicht; eine Berichtigung ist ein neues daneben.",
    "page": "Seite {page} von {pages}", "test": "Testmodus: kein echtes Geld",
}
# A refund on paper is the credit note that Italian and Swedish bookkeeping asks for, and is called by that name there.
_IT = {
    "language": "it",
    "invoice": "Fattura", "refund": "Nota di credito",
    "issued": "Emessa", "period": "Per il periodo", "span": "{first} – {last}",
    "corrects": "Corregge", "credits": "Storna la fattura", "currency": "Valuta", "reason": "Motivo",
    "from": "Da", "to": "A", "tax_id": "N. fiscale {id}",
    "what": "Descrizione", "quantity": "Qtà", "each": "Prezzo", "rate": "Imposta", "amount": "Importo",
    "subtotal": "Imponibile", "tax": "Imposta {rate} su {net}", "total": "Totale", "credit": "Credito usato",
    "due": "Da pagare", "paid": "Pagato", "refunded": "Rimborsato", "void": "Da non pagare",
    "state_paid": "Pagata", "state_open": "Non ancora pagata", "state_void": "Annullata",
    "refund_paid": "Rimborsata", "refund_open": "In arrivo", "refund_void": "Non eseguita",
    "card": "{brand} che termina con {last4}",
    "said_paid": "{amount} pagati il giorno {day} con {method}.", "said_paid_day": "{amount} pagati il giorno {day}.",
    "said_open": "Da pagare: {amount}.", "said_void": "Questa fattura è annullata: non c’è nulla da pagare.",
    "said_refund_paid": "{amount} restituiti il giorno {day} su {method}.", "said_refund_paid_day": "{amount} restituiti il giorno {day}.",
    "said_refund_open": "Il rimborso di {amount} è in arrivo.", "said_refund_void": "Questo rimborso non è stato eseguito.",
    "settled": "Non c’è nulla da pagare: il credito copre l’importo.",
    "questions": "Domande su questo documento: {email}",
    "fixed": "Questo documento non può cambiare; una correzione è un nuovo documento accanto.",
    "page": "Pagina {page} di {pages}", "test": "Modalità di prova: niente denaro vero",
}
# An invoice is a "fatura": a "nota fiscal" is the tax authority's own document.
_PT = {
    "language": "pt_BR",
    "invoice": "Fatura", "refund": "Reembolso",
    "issued": "Emissão", "period": "Período", "span": "{first} a {last}",
    "corrects": "Corrige", "credits": "Reembolsa a fatura", "currency": "Moeda", "reason": "Motivo",
    "from": "De", "to": "Para", "tax_id": "N.º fiscal {id}",
    "what": "Descrição", "quantity": "Qtd.", "each": "Unitário", "rate": "Imposto", "amount": "Valor",
    "subtotal": "Subtotal", "tax": "Imposto {rate} sobre {net}", "total": "Total", "credit": "Crédito usado",
    "due": "A pagar", "paid": "Pago", "refunded": "Reembolsado", "void": "Nada a pagar",
    "state_paid": "Paga", "state_open": "Ainda não paga", "state_void": "Anulada",
    "refund_paid": "Reembolsado", "refund_open": "A caminho", "refund_void": "Não realizado",
    "card": "{brand} com final {last4}",
    "said_paid": "{amount} pagos em {day} com {method}.", "said_paid_day": "{amount} pagos em {day}.",
    "said_open": "Valor a pagar: {amount}.", "said_void": "Esta fatura está anulada: não há nada a pagar.",
    "said_refund_paid": "{amount} devolvidos em {day} para {method}.", "said_refund_paid_day": "{amount} devolvidos em {day}.",
    "said_refund_open": "{amount} estão a caminho de volta.", "said_refund_void": "Este reembolso não foi realizado.",
    "settled": "Não há nada a pagar: o crédito cobre o valor.",
    "questions": "Dúvidas sobre este documento: {email}",
    "fixed": "Este documento não pode mudar; uma correção é um novo documento ao lado dele.",
    "page": "Página {page} de {pages}", "test": "Modo de teste: sem dinheiro de verdade",
}
_SV = {
    "language": "sv",
    "invoice": "Faktura", "refund": "Kreditfaktura",
    "issued": "Utställd", "period": "För tiden", "span": "{first} till {last}",
    "corrects": "Rättar", "credits": "Krediterar faktura", "currency": "Valuta", "reason": "Skäl",
    "from": "Från", "to": "Till", "tax_id": "Skattenr {id}",
    "what": "Beskrivning", "quantity": "Antal", "each": "À-pris", "rate": "Skatt", "amount": "Belopp",
    "subtotal": "Delsumma", "tax": "Skatt {rate} på {net}", "total": "Totalt", "credit": "Använt tillgodohavande",
    "due": "Att betala", "paid": "Betalt", "refunded": "Återbetalt", "void": "Ska inte betalas",
    "state_paid": "Betald", "state_open": "Inte betald än", "state_void": "Makulerad",
    "refund_paid": "Återbetald", "refund_open": "På väg", "refund_void": "Inte genomförd",
    "card": "{brand} som slutar på {last4}",
    "said_paid": "{amount} betalades den {day} med {method}.", "said_paid_day": "{amount} betalades den {day}.",
    "said_open": "Att betala: {amount}.", "said_void": "Fakturan är makulerad: inget ska betalas.",
    "said_refund_paid": "{amount} betalades tillbaka den {day} till {method}.",
    "said_refund_paid_day": "{amount} betalades tillbaka den {day}.",
    "said_refund_open": "{amount} är på väg tillbaka.", "said_refund_void": "Återbetalningen genomfördes inte.",
    "settled": "Inget ska betalas: tillgodohavandet täcker beloppet.",
    "questions": "Frågor om dokumentet: {email}",
    "fixed": "Dokumentet kan inte ändras; en rättelse är ett nytt bredvid det.",
    "page": "Sida {page} av {pages}", "test": "Testläge: inga riktiga pengar",
}
WORDS: dict[str, dict[str, str]] = {"en": _EN, "de": _DE, "it": _IT, "pt_BR": _PT, "sv": _SV}
_BY_LANGUAGE = {name.partition("_")[0]: entry for name, entry in WORDS.items()}


def words(locale: str) -> dict[str, str]:
    """The words of a CLDR locale: its own entry, else one of its language ("pt-PT" reads "pt_BR"), else English."""
    found = locale_of(locale or "en")
    return WORDS.get(str(found)) or _BY_LANGUAGE.get(found.language) or _EN
