"""`rigbeat up`: the whole system on one machine, in the foreground, kept running until it is told to stop."""
