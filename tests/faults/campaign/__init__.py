"""A fault campaign: the whole plant under a seeded random schedule of faults, judged against the exchange's ledger.

`python -m faults.campaign --seed 7 --minutes 5` with tests/ on the module path, or `make campaign SEED=7 MINUTES=5`.
"""
