"""What is kept, and how long: policies in days, and the one process that removes what is older.

The rules are the ledger's (libs/ledger/migrations/sql/0007_*.sql): what may go, never below a floor, and each step
counted in its run. Here is the loop around them, the files in the object store, and what an operator asks and sets.
"""
