"""A partner's ConnectWise: its session, its rate limit, and when to leave it alone."""
