"""A trained network on pictures: what they show, their features, a contact sheet of them."""
