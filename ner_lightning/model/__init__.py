"""Model: backbone, head, CRF and compound loss, as plain torch modules."""
