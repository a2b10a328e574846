"""Emails to customers about their purchases. The worker sends them in response to events."""
