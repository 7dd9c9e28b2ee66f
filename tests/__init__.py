"""The tests of RouteKit Site, by floor and by behaviour."""
