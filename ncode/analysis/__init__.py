"""Phase portraits of controlled fields, and what a flow must preserve."""
