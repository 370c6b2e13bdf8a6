# section NAME FILE: shows the file, and puts it between the markers of that
# name in the page that WRITE names.
section() {
    cat "$2"
    [ -n "${WRITE:-}" ] || return 0
    awk -v name="$1" -v file="$2" '
        $0 == "<!-- end of " name " -->" { skipping = 0 }
        !skipping { print }
        $0 == "<!-- " name " -->" { skipping = 1; while ((getline line < file) > 0) print line }
    ' "$WRITE" >"$2.page"
    cat "$2.page" >"$WRITE"
}
