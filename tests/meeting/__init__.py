"""An app with a tool that ends only when others of its kind run at the same time."""
