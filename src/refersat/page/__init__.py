"""Self-contained HTML pages: escaped markup, one look for all of them, drawings as SVG and PNG."""
