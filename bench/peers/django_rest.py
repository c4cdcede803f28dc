"""Django REST framework's generic views and model serializer, in one file, on Django's own pool."""

import os

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

POOL_SIZE = int(os.environ.get("POOL_SIZE", "10"))
DATABASE_URL = os.environ["DATABASE_URL"].replace("postgresql+asyncpg:", "postgresql:", 1)
database = conninfo_to_dict(DATABASE_URL)
settings.configure(
    DEBUG=False,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["rest_framework"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database.get("dbname"),
            "USER": database.get("user"),
            "PASSWORD": database.get("password"),
            "HOST": database.get("host"),
            "PORT": database.get("port"),
            "OPTIONS": {"pool": {"min_size": POOL_SIZE, "max_size": POOL_SIZE}},
        }
    },
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    },
)
django.setup()

# Only now: models and views need the settings.
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import generics, serializers  # noqa: E402


class Song(models.Model):
    """The table; Songbook's `version` column has a default and is left to it."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=255)
    artist = models.CharField(max_length=255)
    year = models.IntegerField(null=True)

    class Meta:
        """The table is Songbook's."""

        app_label = "songs"
        db_table = "song"
        managed = False

    def __str__(self) -> str:
        """Write a song as people call it."""
        return f"{self.artist} - {self.name}"


class SongSerializer(serializers.ModelSerializer[Song]):
    """The fields shared by requests, responses and the table."""

    class Meta:
        """All the fields that clients see."""

        model = Song
        fields = ("id", "name", "artist", "year")


class SongList(generics.ListCreateAPIView[Song]):
    """List the first hundred songs, and store a song."""

    queryset = Song.objects.order_by("id")[:100]
    serializer_class = SongSerializer


class SongDetail(generics.RetrieveUpdateAPIView[Song]):
    """Show one song, and change some of its fields."""

    queryset = Song.objects.all()
    serializer_class = SongSerializer


urlpatterns = [
    path("songs", SongList.as_view()),
    path("songs/<int:pk>", SongDetail.as_view()),
]
application = get_wsgi_application()
