"""Our topics in documents for others, made from the schemas and the list of topics."""
