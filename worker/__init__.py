"""The worker: takes billing events, makes ConnectWise match, and says what became of each line."""
