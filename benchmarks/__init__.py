"""Speed and latency of the way into Kafka and out of it, beside what one would write with ccxt.pro and aiokafka."""
