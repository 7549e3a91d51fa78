"""Which tools there are and which an agent has; users' own are made here, and run by themselves."""
