"""The command `backpack-streams demo`: a real Kafka, a stand-in for the exchange and every service on one machine."""
