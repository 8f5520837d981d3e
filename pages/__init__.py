"""What the pages of `web` and `console` share: sessions of browsers, safe forms, templates."""
