"""The Letta V1 REST API over HTTP: routes, wire shapes and error bodies. No rule of the product lives here."""
