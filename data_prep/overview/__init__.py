"""What a dataset is, at one look: figures, problems, a verdict, as a page and as data. Nothing is changed."""
