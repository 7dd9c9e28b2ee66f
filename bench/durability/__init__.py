"""What durability costs: the site's own processes beside LangGraph, DBOS and bare Celery, in one run on one machine."""
