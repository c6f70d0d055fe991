"""The words of the generated world: topics, concepts with two names each, people, things.

A concept has two surface forms (near synonyms). Documents use either, questions use either, so a
retriever must learn that both name one concept; a word counter sees only the exact matches.
"""

# topic -> concepts; each concept is a pair of words that mean nearly the same
TOPICS: dict[str, tuple[tuple[str, str], ...]] = {
    "sport": (
        ("match", "game"),
        ("coach", "trainer"),
        ("team", "squad"),
        ("goal", "score"),
        ("stadium", "arena"),
        ("race", "sprint"),
        ("runner", "athlete"),
        ("referee", "umpire"),
        ("trophy", "cup"),
        ("fan", "supporter"),
        ("league", "division"),
        ("captain", "skipper"),
    ),
    "cooking": (
        ("soup", "broth"),
        ("bread", "loaf"),
        ("chef", "cook"),
        ("pan", "skillet"),
        ("oven", "stove"),
        ("dinner", "supper"),
        ("sauce", "gravy"),
        ("pepper", "spice"),
        ("cake", "pastry"),
        ("knife", "blade"),
        ("plate", "dish"),
        ("meal", "feast"),
    ),
    "medicine": (
        ("doctor", "physician"),
        ("nurse", "carer"),
        ("clinic", "hospital"),
        ("illness", "disease"),
        ("pill", "tablet"),
        ("fever", "temperature"),
        ("wound", "injury"),
        ("surgery", "operation"),
        ("patient", "invalid"),
        ("cure", "remedy"),
        ("ache", "pain"),
        ("germ", "microbe"),
    ),
    "music": (
        ("song", "tune"),
        ("singer", "vocalist"),
        ("band", "group"),
        ("violin", "fiddle"),
        ("piano", "keyboard"),
        ("drum", "percussion"),
        ("concert", "recital"),
        ("melody", "theme"),
        ("rhythm", "beat"),
        ("choir", "chorus"),
        ("album", "record"),
        ("composer", "songwriter"),
    ),
    "weather": (
        ("rain", "drizzle"),
        ("storm", "tempest"),
        ("wind", "breeze"),
        ("snow", "sleet"),
        ("fog", "mist"),
        ("cloud", "overcast"),
        ("thunder", "lightning"),
        ("heat", "warmth"),
        ("frost", "ice"),
        ("flood", "deluge"),
        ("drought", "dryness"),
        ("forecast", "outlook"),
    ),
    "travel": (
        ("train", "railway"),
        ("plane", "aircraft"),
        ("ship", "vessel"),
        ("hotel", "inn"),
        ("road", "highway"),
        ("trip", "journey"),
        ("tourist", "visitor"),
        ("map", "atlas"),
        ("suitcase", "luggage"),
        ("harbour", "port"),
        ("car", "automobile"),
        ("bicycle", "bike"),
    ),
    "business": (
        ("company", "firm"),
        ("profit", "gain"),
        ("boss", "manager"),
        ("worker", "employee"),
        ("bank", "lender"),
        ("price", "cost"),
        ("shop", "store"),
        ("buyer", "customer"),
        ("contract", "agreement"),
        ("debt", "loan"),
        ("tax", "duty"),
        ("factory", "plant"),
    ),
    "computing": (
        ("computer", "machine"),
        ("program", "software"),
        ("error", "bug"),
        ("screen", "monitor"),
        ("network", "internet"),
        ("password", "passcode"),
        ("file", "document"),
        ("coder", "developer"),
        ("server", "host"),
        ("robot", "android"),
        ("database", "archive"),
        ("laptop", "notebook"),
    ),
}

NAMES: tuple[str, ...] = (
    *("Ada", "Ben", "Cleo", "Dan", "Ella", "Finn", "Gina", "Hugo"),
    *("Iris", "Jack", "Kim", "Leo", "Mia", "Noah", "Olga", "Paul"),
)

# what word problems count; none of these is a topic word
THINGS: tuple[str, ...] = (
    *("apples", "books", "stamps", "shells", "pens", "coins"),
    *("cards", "eggs", "keys", "rings", "hats", "toys"),
)

DAYS: tuple[str, ...] = (
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)
