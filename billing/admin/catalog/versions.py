"""What the staff pages of versions share: a version is edited as a draft and then published for good.

The page of a published version is read-only, and the way on is a new draft made from it.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from billing.admin.rules import RoomAdmin


def is_draft(version: Any) -> bool:
    """Whether a version may still be edited; one that is being added is."""
    return version is None or not version.is_published


class VersionAdmin(RoomAdmin):
    """Editions of something: drafts to edit and publish, published ones to look at. Each has a page to publish it, and
    one that begins the next draft with a copy of it (`draft_from`)."""

    draft_from: ClassVar[Callable[..., Model]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        # Drafts begin on the page of what they are versions of, where their number and content come from.
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_draft(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and is_draft(obj) and super().has_delete_permission(request, obj)

    def may_draft(self, request: HttpRequest) -> bool:
        """Whether this person may publish and begin drafts. No version is asked about: a published one may only be
        looked at, and drafting from it needs the right to change drafts."""
        return self.has_change_permission(request)

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("<int:pk>/publish/", view(self.publish_view), name=f"{name}_publish"),
            path("<int:pk>/draft/", view(self.draft_view), name=f"{name}_draft"),
            *super().get_urls(),
        ]

    def get_version(self, request: HttpRequest, pk: int) -> Any:
        """The version of a page, for somebody who may draft; watched. Refuses others, and raises Http404."""
        raise NotImplementedError

    def publish_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, then publish a draft."""
        raise NotImplementedError

    def draft_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Begin a draft with a copy of this version's content."""
        version = self.get_version(request, pk)
        if request.method != "POST":
            title = _("New draft from %(version)s") % {"version": self.name_of(version)}
            return self.render_act(request, version, title=title, button=_("Begin the draft"))
        draft = self.draft_from(version_id=pk, now=timezone.now())
        self.note(request, "draft", draft, facts={"from": version.number})
        return HttpResponseRedirect(self.page_url("change", draft))
