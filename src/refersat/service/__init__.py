"""`refersat serve`: a web page and an API around one model. `refersat.service.app.create_app` puts it together."""
