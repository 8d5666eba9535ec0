#!/usr/bin/env python3
"""A libtorrent session that is told on stdin what to add and writes its state to stdout, one JSON object a line.

  lt_peer.py UPLOAD_LIMIT SETTINGS     bytes per second, 0 for none; a JSON object
  in:  {"torrent": path or magnet, "dir": folder, "peers": [[host, port], ..], "trackers": [url, ..], "pex": bool, "empty": bool}
       empty: get next to nothing of it; no trackers: null stands for those of the torrent
       {"scrape": true}, {"dial": [host, port]}
  out: {"port", "seeding", "uploaded", "peers": ["host:port", ..] it is connected to, "error", "said": what trackers said}     ten times a second

Default settings, but for discovery and uTP, which are off.
"""
import json
import os
import select
import sys

import libtorrent as lt


def open_session(upload_limit, settings):
    session = lt.session({
        "listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "enable_incoming_utp": False, "enable_outgoing_utp": False,
        "allow_multiple_connections_per_ip": True, "upload_rate_limit": upload_limit,
        "alert_mask": lt.alert.category_t.error_notification | lt.alert.category_t.status_notification
        | lt.alert.category_t.tracker_notification,
        **settings,
    })
    if upload_limit:  # by default no limit holds for peers on a private network
        everyone = lt.ip_filter()
        everyone.add_rule("0.0.0.0", "255.255.255.255", 1 << lt.session.global_peer_class_id)
        session.set_peer_class_filter(everyone)
    return session


def add(session, command):
    source = command["torrent"]
    if source.startswith("magnet:"):
        params = lt.parse_magnet_uri(source)
    else:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(source)
    params.save_path = command["dir"]
    params.flags &= ~lt.torrent_flags.paused & ~lt.torrent_flags.auto_managed
    if command["empty"]:
        params.download_limit = 1000
    if not command["pex"]:
        params.flags |= lt.torrent_flags.disable_pex
    if command["trackers"] is not None:
        params.trackers = command["trackers"]
    else:  # once `trackers` is set, those of the torrent do not count
        params.trackers = [t.url for t in params.ti.trackers()]
    handle = session.add_torrent(params)
    for peer in command["peers"]:
        handle.connect_peer(tuple(peer))
    return handle


def said(alert):
    """A tracker's words and numbers; None for other alerts."""
    if isinstance(alert, lt.tracker_reply_alert):
        return {"kind": "reply", "peers": alert.num_peers}
    if isinstance(alert, lt.tracker_error_alert):
        return {"kind": "error", "message": alert.failure_reason() or alert.error_message()}
    if isinstance(alert, lt.tracker_warning_alert):
        return {"kind": "warning", "message": alert.message()}
    if isinstance(alert, lt.scrape_reply_alert):
        return {"kind": "scrape", "seeds": alert.complete, "leeches": alert.incomplete}
    return None


def connected(handle):
    """Addresses of the peers with which it has shaken hands."""
    early = lt.peer_info.handshake | lt.peer_info.connecting
    return ["{}:{}".format(*p.ip) for p in handle.get_peer_info() if not p.flags & early]


def report(session, handle, error, heard):
    status = handle.status() if handle else None
    print(json.dumps({
        "port": session.listen_port(),
        "seeding": bool(status and status.is_seeding),
        "uploaded": status.total_payload_upload if status else 0,
        "peers": connected(handle) if handle else [],
        "error": error,
        "said": heard,
    }), flush=True)


def main():
    session = open_session(int(sys.argv[1]), json.loads(sys.argv[2]))
    handle, error, heard = None, "", []
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], 0.1)
        if ready:
            line = sys.stdin.readline()
            if not line:
                return
            command = json.loads(line)
            if "scrape" in command:
                handle.scrape_tracker()
            elif "dial" in command:
                handle.connect_peer(tuple(command["dial"]))
            else:
                handle = add(session, command)
        for alert in session.pop_alerts():
            if isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert)):
                error = alert.message()
            words = said(alert)
            if words:
                heard = (heard + [words])[-20:]
            print(alert.message(), file=sys.stderr)
        report(session, handle, error, heard)


if __name__ == "__main__":
    os.umask(0o022)
    main()
