"""`Idempotency-Key`: a repeated API call has no second effect and gets the answer of the first call."""
