"""Result records and all that is made of them: tables, statistics, figures, the page."""
