"""One suite for every transport: the same outcome for the same answer, cut, time-out and TLS fault."""
