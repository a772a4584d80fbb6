"""The people of the demonstration sign in to a page that is theirs."""

from flask.testing import FlaskClient

from billing.access.model import Role
from billing.demo.loading import make_password, make_person, people
from billing.demo.usage import Plan
from metering.kit.db import Database
from metering.periods import Month
from tests import make, web
from tests.scenarios import story


def test_the_owner_of_a_service_signs_in_to_its_page(
    client: FlaskClient, database: Database
) -> None:
    story.service(database)
    with database.transaction() as session:
        make.source(session, code="patient-messaging", name="Patient messaging")
    plan = Plan(month=Month(2026, 4), event_count=1000, trust_count=2)
    (owner,) = [person for person in people(plan) if Role.SERVICE_OWNER in person.roles]
    password = make_password()
    with database.transaction() as session:
        made = make_person(session, person=owner, password=password, now=web.START)
        assert make_person(session, person=owner, password=password, now=web.START) == made
    typed = {"email": owner.email, "password": password}
    assert web.send(client, "/sign-in", typed, page="/sign-in").status_code == 303
    page = client.get("/", follow_redirects=True)
    assert page.request.path == "/console/services"
    assert page.status_code == 200
    assert 'href="/console/services/1"' in page.text
    assert "Patient messaging" not in page.text
