"""What services share to write to Kafka: the publisher with its reports (gaps, dead letters, states), settings and metrics."""
