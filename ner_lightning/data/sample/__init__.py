"""The bundled sample corpus: five domains, four entity types, two annotations."""
