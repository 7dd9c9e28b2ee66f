"""What is recognised in a text, what survives, and what stands in the place of a value."""

# ruff: noqa: RUF001  the look-alike characters are what is tested

from __future__ import annotations

import phonenumbers
import pytest
from pydantic import ValidationError

from tests.redaction.samples import Samples
from traces.redaction import REDACTOR_VERSION, TYPED_TOKEN, Label, PIIRedactionHook, Redactor, Span

samples = Samples()


@pytest.fixture
def redactor() -> Redactor:
    return PIIRedactionHook(mode="typed").compile()


def only_span(redactor: Redactor, text: str) -> tuple[str, str]:
    (span,) = redactor.spans(text)
    return span.label, text[span.start : span.end]


@pytest.mark.parametrize(
    "address",
    [
        "bob@example.com",
        "bob+invoices@mail.example.co.uk",
        '"bob jones"@example.com',
        "o'brien@example.ie",
        "jürgen@bücher.de",
        "用户@例子.中国",
        "дмитрий@почта.рф",
        "राम@उदाहरण.भारत",
        "bob@xn--bcher-kva.de",
        "bob@[192.168.4.9]",
        "bob%40example.com",
        "bob\\u0040example.com",
        "bob@corp.internal",
        "bob＠example.com",
        "bob [at] example [dot] com",
    ],
)
def test_an_address_is_found_whole(redactor: Redactor, address: str) -> None:
    for text in (f"Write to {address}, please", f"<{address}>", f"联系人：{address}，谢谢"):
        assert only_span(redactor, text) == (Label.EMAIL, address)


@pytest.mark.parametrize("address", ["anna+x@example.com", "jo@mail-x.example.org", "zoë@firma.de"])
def test_an_address_in_the_name_of_a_file_is_found(redactor: Redactor, address: str) -> None:
    for ending in (".txt", ".tar.gz", "_2.txt", "-backup.csv", "_old-2.tar.gz"):
        for text in (f"wrote {address}{ending}", f"/home/{address}{ending}", f'{{"path": "{address}{ending}"}}'):
            assert only_span(redactor, text) == (Label.EMAIL, address)


def test_an_address_with_a_word_glued_to_it_is_found(redactor: Redactor) -> None:
    assert redactor.redact("to anna@example.com_backup, x_anna@example.ORG_") == "to [EMAIL]_backup, [EMAIL]_"


def test_an_address_is_cut_from_the_script_around_it(redactor: Redactor) -> None:
    assert redactor.redact("メールはana@example.frまでお願いします") == "メールは[EMAIL]までお願いします"


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_international_numbers_of_every_region_are_found(redactor: Redactor, region: str) -> None:
    number = phonenumbers.example_number(region)
    assert number is not None
    for form in (phonenumbers.PhoneNumberFormat.E164, phonenumbers.PhoneNumberFormat.INTERNATIONAL):
        written = phonenumbers.format_number(number, form)
        assert only_span(redactor, f"call {written} today") == (Label.PHONE, written)


@pytest.mark.parametrize(
    "number",
    [
        "(415) 555-2671",
        "415-555-2671",
        "415.555.2671",
        "1-415-555-2671",
        "(415) 555-2671 x204",
        "415-555-2671 ext. 31",
        "06 12 34 56 78",
        "01-56-67-70-61",
        "020 7946 0958",
        "07786 333335",
        "07741-097-350",
        "089/3115737",
        "(030) 229 68 22",
        "0171-6673771",
        "98460 29474",
        "022-2489 9922",
        "09836020573",
        "+33(0)1 49 94 64 83",
        "+49 (0)89 698032",
        "0049 40 238763",
        "+1.802.898.5950",
        "090-1234-5678",
        "(11) 91234-5678",
    ],
)
def test_national_ways_to_write_a_number(redactor: Redactor, number: str) -> None:
    for text in (f"lead: Bob | {number} | Austin", f"Contact Maria ({number})"):
        assert only_span(redactor, text) == (Label.PHONE, number)


@pytest.mark.parametrize(
    "word", ["Phone: ", "my cell is ", "Rufnummer: ", "Numéro de mobile ", "tel. ", "電話：", '"phone": "']
)
def test_a_bare_number_needs_a_word_before_it(redactor: Redactor, word: str) -> None:
    assert only_span(redactor, f"{word}2125551212") == (Label.PHONE, "2125551212")
    assert redactor.spans("build 2125551212 done") == []


@pytest.mark.parametrize(
    ("prefix", "length"),
    [("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("36", 14), ("6011", 16), ("3530", 16), ("62", 16)],
)
def test_cards_are_told_by_issuer_and_check_digit(redactor: Redactor, prefix: str, length: int) -> None:
    card = samples.card(prefix, length)
    wrong = card[:-1] + str((int(card[-1]) + 1) % 10)
    assert only_span(redactor, f"charge {card} for 20 EUR") == (Label.CREDIT_CARD, card)
    assert redactor.spans(f"declined test number {wrong}") == []


@pytest.mark.parametrize(
    ("country", "length"), [("DE", 22), ("GB", 22), ("NO", 15), ("PL", 28), ("FR", 27), ("AE", 23)]
)
def test_ibans_are_told_by_length_and_check_digits(redactor: Redactor, country: str, length: int) -> None:
    iban = samples.iban(country, length)
    grouped = " ".join(iban[index : index + 4] for index in range(0, length, 4))
    wrong = iban[:2] + f"{(int(iban[2:4]) + 1) % 97:02d}" + iban[4:]
    assert only_span(redactor, f"bank={iban};bic=X") == (Label.IBAN, iban)
    assert only_span(redactor, f"IBAN: {grouped}") == (Label.IBAN, grouped)
    assert redactor.spans(f"bad checksum {wrong}") == []


def test_social_security_numbers(redactor: Redactor) -> None:
    assert only_span(redactor, "Employee 4411, SS# 144 18 2808, hired") == (Label.US_SSN, "144 18 2808")
    assert only_span(redactor, "SSN: 819-63-2335") == (Label.US_SSN, "819-63-2335")
    for never_issued in ("959-24-4092", "000-83-3511", "666 50 0430", "144-00-2808", "144-18-0000"):
        assert redactor.spans(f"SSN-like sample {never_issued} is not issued") == []


@pytest.mark.parametrize(
    "text",
    ["Passport: {}", "numéro de passeport {}", '{{"passport_number": "{}"}}', "Reisepass Nr. {}", "护照号码：{}"],
)
def test_passports_by_the_word_before_them(redactor: Redactor, text: str) -> None:
    for number in ("CR8828104", "564182734", "66WV08590", "C7BI2189LE"):
        assert only_span(redactor, text.format(number)) == (Label.PASSPORT, number)
    assert redactor.spans("the passport office opens at nine") == []


def test_the_words_before_a_passport_are_not_taken_for_its_number(redactor: Redactor) -> None:
    assert only_span(redactor, "holder of passport number L9413715") == (Label.PASSPORT, "L9413715")
    assert only_span(redactor, "Paspoortnummer 384017559") == (Label.PASSPORT, "384017559")
    assert only_span(redactor, "Reisepass C01XYZ0HJ") == (Label.PASSPORT, "C01XYZ0HJ")


def test_an_iban_in_small_letters_and_behind_an_underscore(redactor: Redactor) -> None:
    iban = samples.iban().lower()
    assert only_span(redactor, f"wire it to {iban}.") == (Label.IBAN, iban)
    assert only_span(redactor, f"account_iban: {iban}") == (Label.IBAN, iban)


@pytest.mark.parametrize("text", ["Ph: {}", "Tél. {}", "my number is {}", "?? '' | Tel: {}"])
def test_phone_words_that_are_short_or_stand_behind_other_signs(redactor: Redactor, text: str) -> None:
    assert only_span(redactor, text.format("2015557050")) == (Label.PHONE, "2015557050")


def test_ip_addresses_are_off_by_default() -> None:
    text = "from 91.1.77.254 and 2a02:c2f:a2b:49::2885, ::ffff:77.152.144.137"
    assert PIIRedactionHook().compile().spans(text) == []
    labels = [span.label for span in PIIRedactionHook(redact_ips=True).compile().spans(text)]
    assert labels == [Label.IP] * 3


@pytest.mark.parametrize(
    "address",
    [
        "anna\\uff0ebell\\uff20mail\\uff0eexample\\uff0eorg",
        "anna\\u002ebell\\u0040mail\\u002eexample\\u002eorg",
        "anna.bell@mail.example\\uff0eorg",
        "anna.bell@mail\\u002eexample.org",
        "\\u0430\\u043d\\u043d\\u0430@\\u043f\\u0440\\u0438\\u043c\\u0435\\u0440.\\u0440\\u0444",
    ],
)
def test_an_address_whose_full_stops_are_escapes_goes_whole(redactor: Redactor, address: str) -> None:
    text = f'write_file {{"path": "about {address} here.txt"}}'
    assert [text[span.start : span.end] for span in redactor.spans(text)] == [address]


@pytest.mark.parametrize("vendor", sorted(samples.vendor_tokens()))
def test_vendor_tokens_are_found_whole(redactor: Redactor, vendor: str) -> None:
    token = samples.vendor_tokens()[vendor]
    for text in (
        f"I pasted {token} in the chat",
        f"export TOKEN={token}",
        f'{{"value": "{token}"}}',
        f"{token}",
        f"x\\n{token}\\n",
    ):
        spans = redactor.spans(text)
        start = text.index(token)
        assert [(span.start, span.end) for span in spans] == [(start, start + len(token))]


@pytest.mark.parametrize(
    ("before", "secret", "after"),
    [
        (
            "https://b.s3.amazonaws.com/o?X-Amz-Expires=60&",
            "X-Amz-Signature=" + samples.text(64, "0123456789abcdef"),
            "",
        ),
        ("https://x.blob.core.windows.net/c?sv=2022-11-02&", f"sig={samples.text(43)}%3D", "&sp=rl"),
        ("mysql -u root -p", samples.text(10), " shop < dump.sql"),
    ],
)
def test_the_signature_of_an_address_and_a_glued_password_go(
    redactor: Redactor, before: str, secret: str, after: str
) -> None:
    text = f"{before}{secret}{after}"
    assert [text[span.start : span.end] for span in redactor.spans(text)] == [secret]


def test_a_password_that_is_asked_for_is_no_password(redactor: Redactor) -> None:
    assert redactor.spans("mysql -u root -p database1 and mysqldump -p shop2024") == []


def test_private_keys_whole_or_cut_off(redactor: Redactor) -> None:
    key = samples.pem()
    assert redactor.redact(f"key:\n{key}\nend") == "key:\n[PRIVATE_KEY]\nend"
    assert samples.text(20) not in redactor.redact(key[: len(key) // 2])
    escaped = key.replace("\n", "\\n")
    assert redactor.redact(escaped) == "[PRIVATE_KEY]"
    certificate = key.replace("RSA PRIVATE" + " KEY", "CERTIFICATE")
    assert redactor.spans(certificate) == []


@pytest.mark.parametrize(
    "text",
    [
        "DB_PASSWORD: {}",
        "password={}",
        "pwd={};Server=db",
        '"client_secret": "{}"',
        "Passwort: {}",
        "access_token: {}",
        "login --user bob --password {} --now",
        "the password is: {}",
        "Authorization: Bearer {}",
        "?api_key={}&page=2",
        "contraseña: {}",
        "密码：{}",
        "{{'password': '{}'}}",
        "password -> {}",
        "**Password:** {}",
        "pw: {}",
        "HMAC_KEY={}",
        "x-functions-key: {}",
        "<ns:password>{}</ns:password>",
        "| db password | {} |",
        "- name: DB_PASSWORD\n  value: {}",
        '<add key="ApiKey" value="{}" />',
        "ENV API_KEY {}",
        "os.getenv('API_KEY', '{}')",
        "process.env.API_KEY || '{}'",
        'conn.setPassword("{}");',
        "CREATE USER bob IDENTIFIED BY '{}';",
        "machine git.example.com login bob password {}",
        "docker login -u bob -p {} registry.example.com",
        "the api token is {}",
        "le mot de passe est {}",
        "a senha é {}",
        "пароль - {}",
    ],
)
def test_secrets_by_the_words_before_them(redactor: Redactor, text: str) -> None:
    for secret in (samples.text(20), samples.text(40, "0123456789abcdef"), f"{samples.text(10)}#{samples.text(6)}"):
        written = text.format(secret)
        assert only_span(redactor, written)[1] == secret


def test_credentials_in_addresses(redactor: Redactor) -> None:
    secret = samples.text(16)
    for user in ("app", "x-access-token"):
        assert (
            redactor.redact(f"postgres://{user}:{secret}@db.internal:5432/app")
            == "postgres://[URL_CREDENTIALS]@db.internal:5432/app"
        )
    assert redactor.redact(f"redis://:{secret}@mq:6379/0") == "redis://[URL_CREDENTIALS]@mq:6379/0"


@pytest.mark.parametrize(
    "text",
    [
        'srcset="logo@2x.png 2x, logo@3x.png 3x"',
        "icon@2x.en-GB.png icon@3x.zh-CN_dark.svg lib@4.17.21-rc.tgz y = x@w.to_dense() + a@b.is_valid",
        "git clone git@github.com:org/repo.git",
        "npm i @types/node@20.11.5 lodash@4.17.21",
        "dist/bundle@2.3.min.js app@latest.min.css getty@tty1.service",
        "image: registry.example.com/app@sha256:dc6a837a965aa906460143647ec0f055",
        "request_id=79dffae4-999f-49c0-b722-9316c9d659aa trace=0baa1f53c0c888bf487678df39dd0c31",
        "epoch_ms=1655341338917 ns=1680715405532719570",
        "order_id: ORD-2120-900579-988",
        "ISBN 978-4-7207-1472-9",
        "part no. 764-40-32914",
        "2018-06-06T07:28:54.795315+02:00 INFO worker started",
        "12/10/2009 - 2012-11-24",
        "lat -13.9260045, lon -172.6277417",
        "loss=0.6517518932323024 lr=1.879e-05 step=4553387",
        "OID 1.3.6.1.4.1.5541.8.71",
        "Windows build 10.0.12574.3542",
        "std::vector<int>::iterator it = a::b::c();",
        "MAC 00:1b:15:4f:19:d0 up, duration 03:27:35:106",
        'api_key = os.environ["OPENAI_API_KEY"]',
        "password = getpass.getpass()",
        "password: ${DB_PASSWORD}",
        "password=********",
        "Authorization: Bearer <token>",
        "password must be at least 12 characters",
        "the secret to good coffee is fresh beans",
        '{"password": null, "token": true}',
        "max_tokens=7277 token_count: 18462 tokens/s",
        "page 4-43 of 1565, tel aviv office hours 09:00-17:00",
        "import sklearn  # sk-learn 1.5",
        "row 12 34 56 78 | 90 12 | 34 71 83",
        "@pytest.fixture",
        "two errors passed to CreateNumpyVector",
        "token: EventLoopToken | None = None",
        "password = settings_dict['PASSWORD']",
        "aes_key = key[32:]",
        'columns = ["id", "password", "sha256"]',
        "echo $password | base64",
        "arn:aws:iam::004403067175:role/deploy",
        "ee12c3d4-e5f6-4a7b-8c9d-e0f1a2b3c4d5",
        "10:15:30:42 in the cut, 00:1b:a0:79:8b:5c up",
    ],
)
def test_what_only_looks_like_a_value_survives(text: str) -> None:
    redactor = PIIRedactionHook(redact_ips=True).compile()
    assert redactor.redact(text) == text
    assert redactor.redact({"content": text}) == {"content": text}


def test_each_family_can_be_switched_off() -> None:
    values = {
        "redact_emails": "bob@example.com",
        "redact_phones": "+1 415 555 2671",
        "redact_cards": samples.card(),
        "redact_ids": "SSN 819-63-2335",
        "redact_secrets": f"ghp_{samples.text(36)}",
    }
    for field, text in values.items():
        assert PIIRedactionHook().compile().redact(text) != text
        assert PIIRedactionHook.model_validate({field: False}).compile().redact(text) == text


def test_the_three_modes() -> None:
    text = "bob@example.com paid"
    assert PIIRedactionHook().compile().redact(text) == "[REDACTED] paid"
    assert PIIRedactionHook(replacement="(gone)").compile().redact(text) == "(gone) paid"
    assert PIIRedactionHook(mode="typed").compile().redact(text) == "[EMAIL] paid"


def test_pseudonyms_are_stable_within_a_tenant_and_differ_between_tenants() -> None:
    hook = PIIRedactionHook(mode="pseudonym")
    acme, globex = hook.compile(b"a" * 32), hook.compile(b"g" * 32)
    shown = acme.redact("bob@example.com, BOB@example.com, ann@example.com, +1 415 555 2671, (415) 555-2671")
    bob, bob_again, ann, *_ = shown.split(", ")
    assert bob == bob_again != ann
    match = TYPED_TOKEN.fullmatch(bob)
    assert match is not None
    assert match[1] == "EMAIL"
    assert globex.redact("bob@example.com") != bob
    assert acme.redact(shown) == shown
    with pytest.raises(ValueError, match="pseudonym_key"):
        hook.compile()


def test_the_public_names() -> None:
    assert isinstance(REDACTOR_VERSION, int)
    hook = PIIRedactionHook()
    assert hook.compile() is PIIRedactionHook().compile()
    assert hook.compile().spans("to bob@example.com") == [Span(3, 18, "EMAIL")]
    with pytest.raises(ValidationError):
        PIIRedactionHook.model_validate({"redact_everything": True})


@pytest.mark.parametrize("replacement", ["", "   ", "bob@example.com", "a\nb", "x" * 65])
def test_a_replacement_must_show_and_be_no_value_itself(replacement: str) -> None:
    with pytest.raises(ValidationError):
        PIIRedactionHook(replacement=replacement)


@pytest.mark.parametrize("number", ["(415) 555-2671 x204", "415-555-2671"])
def test_a_number_that_a_secret_hides_is_found_once_the_secret_is_gone(redactor: Redactor, number: str) -> None:
    text = f"sk-{samples.text(48)}{number}"
    once = redactor.redact(text)
    assert "555" not in once
    assert redactor.redact(once) == once
