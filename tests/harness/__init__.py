"""Kill processes with SIGKILL at random points and check that no charge is doubled, lost or left open.

    python -m tests.harness.kills --kills 1000 --engine sqlite
    python -m tests.harness.kills --kills 1000 --engine postgresql --operation refund --seed 7

A warm parent without open connections forks a child that runs one operation (`money_operations.py`: renewal, dues, plan change,
refund) and kills it (`killed_process.py`) at a random

* commit   just before or just after one of its commits
* call     just before or just after one of its calls to the provider
* line     any line of billing, gateways or core that it runs
* moment   a random time

Then the worker runs as after a restart, a person who saw no answer clicks again, and both ledgers are compared
(`ledger_comparison.py`). Prints the kills of each operation, and how many charges were doubled, lost or stuck. Exits with 1 if there
are any. The sandbox has a separate database and commits, so a rollback here undoes nothing there.
"""
