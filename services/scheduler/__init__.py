"""The scheduler: decides what is due, writes it down, then hands it to the broker. Several run side by side."""
