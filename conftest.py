"""Everything that tests are fed comes from the plugins in `fixtures/plugins`."""

pytest_plugins = [
    "pytester",
    "fixtures.plugins.session",
    "fixtures.plugins.requirements",
    "fixtures.plugins.records",
    "fixtures.plugins.allure_results",
    "fixtures.plugins.turns",
    "fixtures.plugins.hosts",
    "fixtures.plugins.guests",
    "fixtures.plugins.encryption",
    "fixtures.plugins.matrix",
    "fixtures.plugins.lanes",
    "fixtures.plugins.smoke",  # after lanes: the last one registered chooses first
    "suites.prerequisites.looking",
]
