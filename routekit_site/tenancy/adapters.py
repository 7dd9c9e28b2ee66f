"""What django-allauth asks this site: who may sign up, where requests come from, how secrets are stored."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from routekit_site.tenancy.addresses import client_address
from routekit_site.tenancy.encryption import seal, unseal


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody makes an account with a password for themselves."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002 - allauth's signature
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)


class IdentityAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """An identity makes an account only when the operator says so, and never a membership."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: object) -> bool:  # noqa: ARG002 - allauth's signature
        return bool(settings.OIDC_SIGN_UP)


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Secrets of second factors are stored encrypted, like every other secret of the site."""

    def encrypt(self, text: str) -> str:
        return seal(text).decode("ascii")

    def decrypt(self, encrypted_text: str) -> str:
        found: str = unseal(encrypted_text.encode("ascii"))
        return found

    def get_totp_label(self, user: AbstractBaseUser) -> str:
        """The user name: an authenticator app shows it to whoever holds the phone."""
        return user.get_username()

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:  # noqa: A002 - allauth's signature
        return f"Passkey {Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1}"
