"""django-allauth's forms of passkeys, for hostile input: whatever a browser may send is a message, never an error."""

from __future__ import annotations

from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    EditWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms

from routekit_site.tenancy.fields import JSONField

MAX_NAME = 60


class _Careful(AuthenticateWebAuthnForm):  # type: ignore[misc]
    """A credential is a nest of JSON that the FIDO library takes apart trustingly: a failure is a wrong one."""

    credential = JSONField(widget=forms.HiddenInput)

    def clean_credential(self) -> Authenticator:
        try:
            return super().clean_credential()
        except forms.ValidationError:
            raise
        except Exception as error:
            raise get_adapter().validation_error("incorrect_code") from error


class AuthenticatePasskeyForm(_Careful):
    """The second step of a sign-in."""


class SignInPasskeyForm(_Careful, LoginWebAuthnForm):  # type: ignore[misc]
    """A sign-in by passkey alone."""


class ConfirmPasskeyForm(_Careful, ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """A proof by somebody who is signed in."""


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]
    """A new passkey."""

    name = forms.CharField(required=False, max_length=MAX_NAME)
    credential = JSONField(widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        try:
            cleaned: dict[str, Any] = super().clean()
        except forms.ValidationError:
            raise
        except Exception as error:
            raise get_adapter().validation_error("incorrect_code") from error
        return cleaned


class EditPasskeyForm(EditWebAuthnForm):  # type: ignore[misc]
    """Another name for a passkey."""

    name = forms.CharField(max_length=MAX_NAME)
