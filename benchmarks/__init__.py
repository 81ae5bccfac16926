"""Speed and latency of the ways into and out of Kafka, compared with a loop written with ccxt.pro and aiokafka."""
