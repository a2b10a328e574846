"""Says what the law of a country requires of a seller of subscriptions: one reviewed table, read by pages, emails, commands and docs."""
