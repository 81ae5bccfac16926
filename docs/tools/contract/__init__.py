"""Generates documents about our topics for other teams, from the schemas and the list of topics."""
