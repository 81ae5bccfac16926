"""Books and records in the shapes that trading systems take. Each module needs its library, and imports it when it is used."""
