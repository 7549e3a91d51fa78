"""Model providers: one adapter per wire protocol behind the Provider port, and the catalogue of them."""
