"""The program `backpack-streams`."""
