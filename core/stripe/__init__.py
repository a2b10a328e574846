"""What every package that calls Stripe needs: its way to count amounts, and its SDK over our outgoing HTTP client."""
