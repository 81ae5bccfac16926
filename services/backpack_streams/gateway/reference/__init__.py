"""The reference of the read API: its OpenAPI document, and a page of it that needs no other host."""
