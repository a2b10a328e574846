"""What pages read: each function takes a scoped session and returns plain rows, at a fixed number of statements.

Rows carry `business_id`, so that a page at the unified door can say whose they are; no query asks for one.
"""
