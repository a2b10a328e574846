"""Figures of the whole deployment, and the operator's actions on failed work. They contain no customer data.

queues.py       waiting work and its age
failed_work.py  failed work (retrying, given up or set aside) and the actions on it
jobs.py         recurring jobs and their failed rows
health.py       database, replica, mail server, disk, clock, versions
audit.py        the operator's actions
"""
