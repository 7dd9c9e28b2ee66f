from __future__ import annotations

from allauth.account.views import account_inactive
from allauth.mfa.base.views import authenticate
from allauth.mfa.recovery_codes.views import generate_recovery_codes, view_recovery_codes
from allauth.mfa.totp.views import activate_totp, deactivate_totp
from allauth.mfa.webauthn.views import add_webauthn, edit_webauthn, login_webauthn, remove_webauthn
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from allauth.socialaccount.views import login_cancelled
from django.urls import path
from django.views.decorators.cache import never_cache

from routekit_site.tenancy import account, confirming, views
from routekit_site.tenancy.provider import asks_provider, leads_to_provider

oidc_login = leads_to_provider(asks_provider(openid_connect.login))

# django-allauth finds its pages by these names. What is not listed here (signing up, e-mail addresses, its own
# confirmation pages) does not exist on this site.
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-in/", views.sign_in, name="account_login"),
    path("sign-in/second-step/", authenticate, name="mfa_authenticate"),
    path("sign-in/passkey/", login_webauthn, name="mfa_login_webauthn"),
    path("sign-in/inactive/", account_inactive, name="account_inactive"),
    path("sign-in/cancelled/", login_cancelled, name="socialaccount_login_cancelled"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("demo/sign-in/", views.demo_sign_in, name="demo-sign-in"),
    path("confirm/", confirming.confirm, name="confirm-identity"),
    path("confirm/", confirming.confirm, name="account_reauthenticate"),
    path("confirm/", confirming.confirm, name="mfa_reauthenticate"),
    path("confirm/", confirming.confirm, name="mfa_reauthenticate_webauthn"),
    path("halts/", views.halts, name="halts"),
    path("tenant/", views.switch_tenant, name="switch-tenant"),
    path("account/", account.account, name="account"),
    path("account/", account.account, name="mfa_index"),
    path("account/password/", account.change_password, name="change-password"),
    path("account/app/", never_cache(activate_totp), name="mfa_activate_totp"),
    path("account/app/remove/", deactivate_totp, name="mfa_deactivate_totp"),
    path("account/recovery-codes/", never_cache(view_recovery_codes), name="mfa_view_recovery_codes"),
    path("account/recovery-codes/new/", generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("account/passkeys/", account.to_account, name="mfa_list_webauthn"),
    path("account/passkeys/new/", never_cache(add_webauthn), name="mfa_add_webauthn"),
    path("account/passkeys/<int:pk>/name/", edit_webauthn, name="mfa_edit_webauthn"),
    path("account/passkeys/<int:pk>/remove/", remove_webauthn, name="mfa_remove_webauthn"),
    path("account/identities/", account.identities, name="socialaccount_connections"),
    path("oidc/<slug:provider_id>/login/", oidc_login, name="openid_connect_login"),
    path("oidc/<slug:provider_id>/callback/", asks_provider(openid_connect.callback), name="openid_connect_callback"),
]
