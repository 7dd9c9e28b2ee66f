"""Django's settings. Whatever differs between installations comes from `env.py`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from csp.constants import NONE, SELF

from routekit_site import connections, env

ENVIRONMENT = env.load()

DEMO = ENVIRONMENT.demo
DEBUG = False
SECRET_KEY = ENVIRONMENT.secret_key.get_secret_value()
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(ENVIRONMENT.trusted_origins)
ROOT_URLCONF = "routekit_site.urls"
ASGI_APPLICATION = "routekit_site.asgi.application"
AUTH_USER_MODEL = "tenancy.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "daphne",
    "routekit_site.apps.SiteConfig",
    "routekit_site.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "axes",
    "routekit_site.tenancy",
    "traces",
    "approvals",
    "agents",
    *ENVIRONMENT.apps,
]

MIDDLEWARE = [
    "routekit_site.request_log.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "routekit_site.headers.HeadersMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "routekit_site.tenancy.sessions.SessionLifetimeMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "routekit_site.tenancy.middleware.CurrentTenantMiddleware",
    "routekit_site.tenancy.reauthentication.ReauthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    # Last: it looks at the answer of a refused sign-in first.
    "axes.middleware.AxesMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [env.PROJECT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "routekit_site.tenancy.context.tenancy",
                "routekit_site.context.header",
            ]
        },
    }
]

# Database -----------------------------------------------------------------------------------------------------------

DATABASES = {"default": connections.database(ENVIRONMENT)}

# Sign-in ------------------------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]

ACCOUNT_ADAPTER = "routekit_site.tenancy.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_UNIQUE_EMAIL = False
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = ENVIRONMENT.reauthenticate_minutes * 60
MFA_ADAPTER = "routekit_site.tenancy.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "RouteKit Site"
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_FORMS = {
    "add_webauthn": "routekit_site.tenancy.passkey_forms.AddPasskeyForm",
    "authenticate_webauthn": "routekit_site.tenancy.passkey_forms.AuthenticatePasskeyForm",
    "login_webauthn": "routekit_site.tenancy.passkey_forms.SignInPasskeyForm",
    "edit_webauthn": "routekit_site.tenancy.passkey_forms.EditPasskeyForm",
}

OIDC_NAME = ENVIRONMENT.oidc_name
OIDC_SIGN_UP = ENVIRONMENT.oidc_sign_up
# Forms that lead to the provider need its origin in `form-action`: browsers judge redirects of a form too.
OIDC_ORIGIN = env.origin_of(ENVIRONMENT.oidc_server_url) if ENVIRONMENT.oidc_server_url else None
SOCIALACCOUNT_ADAPTER = "routekit_site.tenancy.adapters.IdentityAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": []}}
if ENVIRONMENT.oidc_server_url and ENVIRONMENT.oidc_client_secret:
    SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"].append(
        {
            "provider_id": "oidc",
            "name": ENVIRONMENT.oidc_name,
            "client_id": ENVIRONMENT.oidc_client_id,
            "secret": ENVIRONMENT.oidc_client_secret.get_secret_value(),
            "settings": {"server_url": ENVIRONMENT.oidc_server_url},
        }
    )

AXES_HANDLER = "routekit_site.tenancy.lockout.LockoutHandler"
AXES_USERNAME_CALLABLE = "routekit_site.tenancy.lockout.username_mark"
AXES_CLIENT_IP_CALLABLE = "routekit_site.tenancy.addresses.client_address"
AXES_LOCKOUT_CALLABLE = "routekit_site.tenancy.lockout.locked_out"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# Channels and Celery ------------------------------------------------------------------------------------------------

REDIS_URL = ENVIRONMENT.redis_url.get_secret_value() if ENVIRONMENT.redis_url else None

CACHES = {"default": connections.cache(REDIS_URL)}
CHANNEL_LAYERS = {"default": connections.channel_layer(REDIS_URL)}

CELERY_BROKER_URL = REDIS_URL or "memory://localhost/"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"visibility_timeout": 6 * 3600, "socket_timeout": 5} if REDIS_URL else {"polling_interval": 0.005}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A Redis that is full refuses what a worker says as it starts, and would else end it.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = None
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_POOL = "routekit_site.prefork:TaskPool"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_TASK_PUBLISH_RETRY = False
CELERY_DB_REUSE_MAX = 1000
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "agents.tasks.sweep", "schedule": 1.0, "options": {"expires": 5}},
    "tell": {"task": "approvals.tasks.tell", "schedule": 2.0, "options": {"expires": 5}},
    "forget-notices": {"task": "approvals.tasks.forget_notices", "schedule": 3600.0, "options": {"expires": 600}},
    "forget": {"task": "traces.tasks.forget", "schedule": 900.0, "options": {"expires": 600}},
    "forget-raw": {"task": "agents.tasks.forget_raw", "schedule": 900.0, "options": {"expires": 600}},
    "encrypt": {"task": "traces.tasks.encrypt", "schedule": 60.0, "options": {"expires": 50}},
    "note-heads": {"task": "traces.tasks.note_heads", "schedule": 3600.0, "options": {"expires": 600}},
}
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

# E-mail -------------------------------------------------------------------------------------------------------------

EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = ENVIRONMENT.email_from
SERVER_EMAIL = ENVIRONMENT.email_from
globals().update(connections.mail(ENVIRONMENT))
# Where nothing is set up, nobody is offered e-mails.
ROUTEKIT_SENDS_EMAIL = ENVIRONMENT.email_url is not None or DEMO

# What is ours -------------------------------------------------------------------------------------------------------

ROUTEKIT_ENCRYPTION_KEYS = tuple(key.get_secret_value() for key in ENVIRONMENT.encryption_keys)
ROUTEKIT_SIGNING_KEY = ENVIRONMENT.signing_key.get_secret_value() if ENVIRONMENT.signing_key else None
ROUTEKIT_VERIFY_KEYS = ENVIRONMENT.verify_keys
ROUTEKIT_TOOL_FILTER = ENVIRONMENT.tool_filter
ROUTEKIT_CONTAIN_AFTER = ENVIRONMENT.contain_after
ROUTEKIT_RUNTIME_DEFAULTS = ENVIRONMENT.runtime_defaults
ROUTEKIT_APPROVAL_CALLBACKS = ENVIRONMENT.approval_callbacks
ROUTEKIT_EGRESS_SOCKET = ENVIRONMENT.egress_socket
ROUTEKIT_SANDBOX_REQUIRE = ENVIRONMENT.sandbox_require
ROUTEKIT_LEASE_SECONDS = ENVIRONMENT.lease_seconds
ROUTEKIT_OTLP_ENDPOINT = ENVIRONMENT.otlp_endpoint
ROUTEKIT_METRICS_TOKEN = ENVIRONMENT.metrics_token.get_secret_value() if ENVIRONMENT.metrics_token else None
ROUTEKIT_DATA_DIR = ENVIRONMENT.data_dir
ROUTEKIT_BIND = ENVIRONMENT.bind
ROUTEKIT_SUBMIT_RATE = ENVIRONMENT.submit_rate
ROUTEKIT_DECIDE_RATE = ENVIRONMENT.decide_rate
ROUTEKIT_SOCKETS_PER_PERSON = ENVIRONMENT.sockets_per_person
ROUTEKIT_PROXIES = ENVIRONMENT.proxies
ROUTEKIT_SESSION_IDLE_SECONDS = ENVIRONMENT.session_idle_minutes * 60
ROUTEKIT_SESSION_SECONDS = ENVIRONMENT.session_hours * 3600
ROUTEKIT_REAUTHENTICATE_SECONDS = ENVIRONMENT.reauthenticate_minutes * 60
ROUTEKIT_WEBHOOK_HOSTS = ENVIRONMENT.webhook_hosts
ROUTEKIT_OPENAI_API_KEY = ENVIRONMENT.openai_api_key
ROUTEKIT_OPENAI_BASE_URL = ENVIRONMENT.openai_base_url
ROUTEKIT_SITE_URL = connections.site_url(ENVIRONMENT)

# Pages, static files, language --------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATICFILES_DIRS = [env.PROJECT / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
LOGIN_URL = "/sign-in/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/sign-in/"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Security -----------------------------------------------------------------------------------------------------------

SECURE_COOKIES = ENVIRONMENT.https and not DEMO
SESSION_ENGINE = "routekit_site.tenancy.session_store"
SESSION_COOKIE_AGE = ROUTEKIT_SESSION_IDLE_SECONDS
# `__Host-`: the browser takes the cookie only over HTTPS, for this host and the whole of it; no other host can set it.
SESSION_COOKIE_NAME = "__Host-sessionid" if SECURE_COOKIES else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if SECURE_COOKIES else "csrftoken"
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = SECURE_COOKIES
# Asked inside the host, without the proxy: by health checks and by what collects figures.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_COOKIES else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE_COOKIES else None
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "routekit_site.views.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
# No page takes a file: whatever comes as one is cut off early.
DATA_UPLOAD_MAX_NUMBER_FILES = 5
SILENCED_SYSTEM_CHECKS = [
    # HSTS for subdomains and the preload list bind other hosts of the domain: for the operator's proxy to say.
    "security.W005",
    "security.W021",
]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "require-trusted-types-for": ["'script'"],
    }
}

_OURS = {"level": ENVIRONMENT.log_level}
# At DEBUG, libraries log requests, queries and messages whole; that level is for our own code, which logs ids only.
_THEIRS = "INFO" if ENVIRONMENT.log_level == "DEBUG" else ENVIRONMENT.log_level

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"redact": {"()": "routekit_site.logs.RedactingFilter"}},
    "formatters": {
        "line": {
            "()": "routekit_site.logs.PlainFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        },
        "json": {"()": "routekit_site.logs.json_formatter"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": ENVIRONMENT.log_format, "filters": ["redact"]}
    },
    "root": {"handlers": ["console"], "level": _THEIRS},
    "loggers": {
        "agents": _OURS,
        "approvals": _OURS,
        "routekit_site": _OURS,
        # A line a request: for programs, which count and search them. People would see nothing else.
        "routekit_site.request_log": {
            "level": ENVIRONMENT.log_level if ENVIRONMENT.log_format == "json" else "WARNING"
        },
        "traces": _OURS,
        # Django's own handler writes to the console too, unredacted.
        "django": {"handlers": [], "level": _THEIRS, "propagate": True},
        "django.server": {"handlers": [], "level": _THEIRS, "propagate": True},
        # One line for each refused request; what breaks is logged at ERROR by the handler's own call.
        "django.request": {"level": "ERROR"},
        # Any scanner sends foreign hosts, and a line of an error would repeat what it sent; the answer is 400.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # One line a request or message: their addresses may hold what a tool was given.
        "httpx": {"level": "WARNING"},
        "openai": {"level": "WARNING"},
        # It names user names and addresses at INFO.
        "axes": {"level": "ERROR"},
        "celery": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
    },
}
