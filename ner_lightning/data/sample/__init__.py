"""The bundled sample corpus: five domains, four entity types, two annotations and what came of them."""
