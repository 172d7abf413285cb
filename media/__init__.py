"""Media: photos on their way from a phone to whoever may see them. The files stand in the order the bytes go.

    intake       resumable uploads (tus 1.0.0); an upload's offset is what lies synced on the disk
    check        is it a JPEG, PNG or WebP of a bearable size? Looked at in a child process that may die (`child`)
    derive       what is served: turned upright, re-encoded, without EXIF, GPS or anything else that rode along
    store        where finished files lie, named by the SHA-256 of the bytes as they were uploaded
    controllers  the HTTP of it, and who may read: those who may read a document that names the photo
    codes        what is printed and stuck on machines: QR and labels

An op carries only the SHA-256 of a photo; the bytes come when the network lets them, before or after the op. **The bytes as uploaded are
kept unserved, as evidence**: their SHA-256 is what the signed op named, so anybody who audits can show that the photo is the one the
worker took, with the EXIF it had. What is served is always derived from them.
"""
