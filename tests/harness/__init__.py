"""kill -9, a thousand times: does any charge happen twice, get lost, or stay open for ever?

    python -m tests.harness.kills --kills 1000 --engine sqlite
    python -m tests.harness.kills --kills 1000 --engine postgresql --operation refund --seed 7

A warm parent without open connections forks a child that does one act (`acts.py`: renewal, dues, plan change, refund) and dies by SIGKILL
(`deaths.py`) at a random

* commit   just before or just after one of its commits
* call     just before or just after one of its calls to the provider
* line     any line of billing, gateways or core that it runs
* moment   whenever the parent's signal comes

Then the worker runs as after a restart, a person who saw no answer clicks again, and both books are compared (`books.py`):
what the provider moved against what the ledger says. Printed, by operation: kills, and how many doubled, lost, stuck.
The exit status is 1 when any is. The sandbox has a database and commits of its own, so nothing here is rolled back with ours.
"""
