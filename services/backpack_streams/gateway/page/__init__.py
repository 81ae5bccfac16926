"""The live page at `/`: serves its files from the package, with headers that restrict what it may load."""

from backpack_streams.gateway.page.asset_routes import CONTENT_SECURITY_POLICY, routes

__all__ = ["CONTENT_SECURITY_POLICY", "routes"]
